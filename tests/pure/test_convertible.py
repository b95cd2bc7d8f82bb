"""Requests as bodies, answers as answers: plain JSON, FastAPI and pydantic."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import pydantic
import pytest
from fastapi import Body, FastAPI
from fastapi.testclient import TestClient

from seedance_async import (
    Changes,
    Completion,
    Delivered,
    GptImage2,
    ImageOutput,
    Job,
    JobResult,
    NanoBananaPro,
    OutputImage,
    Request,
    Seedance2Video,
    SeedanceError,
    State,
    Submission,
    Summary,
    Task,
    Usage,
    ValidationError,
    VideoOutput,
)

FOX = "a fox asleep on a roof"
FOX_PICTURE = NanoBananaPro(prompt=FOX, output_format="jpeg")
REQUESTS: list[Request] = [
    Seedance2Video(prompt=FOX, media_urls=["https://a.example/1.png"], duration="8"),
    GptImage2(prompt=FOX, batch_count=3),
    FOX_PICTURE,
]
PICTURES = ImageOutput(images=(OutputImage(url="https://a.example/1"),))
TASK = Task(
    id="nbp_1",
    status="completed",
    output=PICTURES,
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
    raw={"any": 1},
)
SUBMISSION = Submission(id="nbp_1", task_ids=("nbp_1",), idempotency_key="k")
ANSWERS = [
    TASK,
    SUBMISSION,
    VideoOutput(video_url="https://a.example/1"),
    PICTURES,
    OutputImage(url="https://a.example/1"),
    Completion(
        index=0, request=REQUESTS[2], submission=SUBMISSION, tasks=(TASK,), error=None, posted=REQUESTS[2]
    ),
    Job(REQUESTS[0], name="fox"),
    JobResult(name="fox", state=State.SAVED, model="x", files=(Path("a.png"),), error=SeedanceError("told")),
    Summary(counts={State.SAVED: 2}, changes=Changes(added=1)),
    Usage(submits=1),
    Delivered(width=720, height=1280, seconds=5.04, fps=24.0, sound=True),
]


def name_of(value: object) -> str:
    """Its class."""
    return type(value).__name__


@pytest.mark.parametrize("request_", REQUESTS, ids=name_of)
def test_a_request_is_made_of_what_it_converts_to(request_: Any) -> None:  # noqa: ANN401 - any request
    """Through JSON, and with the API's word for the model beside the fields."""
    fields = json.loads(json.dumps(request_.to_dict()))

    assert request_ == type(request_).from_dict(fields)
    assert request_ == type(request_).from_dict({**fields, "model": request_.model})


def test_fields_are_refused_as_those_of_a_manifest_are() -> None:
    """All at once, unknown ones and another model's word included."""
    with pytest.raises(ValidationError) as caught:
        NanoBananaPro.from_dict({"promt": FOX, "output_format": "gif", "model": "seedance2", "teamSlug": "x"})

    assert {"prompt", "promt", "output_format", "model", "teamSlug"} == {
        name for name, _ in caught.value.problems
    }


@pytest.mark.parametrize("answer", ANSWERS, ids=name_of)
def test_an_answer_converts_to_json(answer: Any) -> None:  # noqa: ANN401 - any answer
    """Without ``raw``: it is the server's, with all that it may hold."""
    said = json.loads(json.dumps(answer.to_dict()))

    assert "raw" not in said
    with pytest.raises(TypeError):
        type(answer).from_dict({})


def application(kind: object) -> TestClient:
    """An application with a body of this type, which answers a task."""
    app = FastAPI()

    async def make(clip):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202 - annotated below
        seen.append(clip)
        return TASK

    seen: list[object] = []
    make.__annotations__ = {"clip": Annotated[kind, Body()], "return": Task}
    app.post("/clips")(make)
    app.state.seen = seen
    return TestClient(app)


@pytest.mark.parametrize("request_", REQUESTS, ids=name_of)
def test_a_request_is_a_body_and_a_task_an_answer(request_: Any) -> None:  # noqa: ANN401 - any request
    """Read by the rules of its class, documented field by field."""
    client = application(type(request_))

    answer = client.post("/clips", json=request_.to_dict())

    assert 200 == answer.status_code
    assert TASK.to_dict() == answer.json()
    assert [request_] == client.app.state.seen  # type: ignore[attr-defined]
    document = client.get("/openapi.json").json()
    body = document["paths"]["/clips"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    body = document["components"]["schemas"][body["$ref"].rsplit("/", 1)[1]] if "$ref" in body else body
    assert set(request_.to_dict()) == set(body["properties"])
    assert ["prompt"] == body["required"]


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({}, ["prompt"], "is required"),
        ({"prompt": FOX, "duration": 99}, ["duration"], "must be a whole number"),
        ({"prompt": FOX, "generate_audio": "false"}, ["generate_audio"], "must be true or false"),
        ({"prompt": FOX, "qualty_tier": "pro"}, ["qualty_tier"], "did you mean 'quality_tier'"),
        ([FOX], [], "must be a "),
        (FOX, [], "must be a "),
    ],
)
def test_a_wrong_body_is_a_422_that_says_what_is_wrong(body: object, field: list[str], words: str) -> None:
    """In the words of the class; nothing is converted silently, as "false" to true."""
    client = application(Seedance2Video)

    answer = client.post("/clips", json=body)

    assert 422 == answer.status_code
    (problem,) = answer.json()["detail"]
    assert ["body", *field] == problem["loc"]
    assert words in problem["msg"]
    assert [] == client.app.state.seen  # type: ignore[attr-defined]


def test_a_body_is_refused_with_every_problem_in_its_place() -> None:
    """Those of single fields, of combinations, and unknown fields, in each request of a list."""
    client = application(list[Seedance2Video])
    wrong = {"prompt": "a", "resolution": "4k", "duration": 99, "promt": FOX}

    answer = client.post("/clips", json=[{"prompt": FOX}, wrong])

    places = {tuple(problem["loc"]) for problem in answer.json()["detail"]}
    assert {("body", 1, name) for name in wrong} == places
    assert [] == client.app.state.seen  # type: ignore[attr-defined]


def test_the_schema_of_a_request_has_its_bounds_and_defaults() -> None:
    """A form that is made of it refuses what the class would refuse."""
    fields = pydantic.TypeAdapter(Seedance2Video).json_schema()["properties"]

    assert {"minLength": 3, "maxLength": 10_000, "type": "string"} == fields["prompt"]
    assert {"type": "integer", "minimum": 4, "maximum": 15, "default": 5} == fields["duration"]
    assert 12 == fields["media_urls"]["maxItems"]
    assert fields["generate_audio"]["default"] is True
    assert (-1, 2**32 - 1) == (fields["seed"]["minimum"], fields["seed"]["maximum"])
    assert "default" not in fields["mode"]  # it follows from the media


def test_a_body_of_any_model_says_which_it_is() -> None:
    """By the API's word for it."""
    client = application(Request)

    for request in REQUESTS:
        assert 200 == client.post("/clips", json={**request.to_dict(), "model": request.model}).status_code

    assert REQUESTS == client.app.state.seen  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "kind", [type(value) for value in (*REQUESTS, *ANSWERS)], ids=lambda kind: kind.__name__
)
def test_any_of_them_is_a_field_of_a_model(kind: type) -> None:
    """With a schema for reading and for writing."""
    adapter = pydantic.TypeAdapter(list[kind])  # type: ignore[valid-type]  # of a parameter

    for mode in ("validation", "serialization"):
        schema = adapter.json_schema(mode=mode)
        assert kind.__name__ in json.dumps(schema)
    values = [value for value in (*REQUESTS, *ANSWERS) if type(value) is kind]
    assert values == adapter.validate_python(values)
    assert [value.to_dict() for value in values] == adapter.dump_python(values, mode="json")
