"""The properties of a POST that the account record stores. Pure."""

from __future__ import annotations

import json

from attrs import field, frozen

from seedance_async.models import Kind
from seedance_async.prices import Tariff


@frozen(kw_only=True)
class Asked:
    """The properties of a POST that the account record stores.

    Attributes:
        key: its idempotency key.
        kind: the class of work.
        tasks: number of tasks that it starts.
        project: the project that its costs belong to; None for no project.
        prompt: None if prompts are not recorded.
    """

    key: str
    kind: Kind
    tasks: int = 1
    project: str | None = None
    prompt: str | None = field(default=None, repr=False)

    @property
    def tariff(self) -> Tariff:
        """The kind and number of tasks, which determine the price."""
        return Tariff(self.kind, self.tasks)

    @classmethod
    def of_body(
        cls, body: bytes | None, *, key: str, kind: Kind, project: str | None, with_prompt: bool
    ) -> Asked:
        """Return the properties of a POST with this JSON body."""
        fields = json.loads(body or b"{}")
        prompt = fields.get("prompt") if with_prompt else None
        return cls(key=key, kind=kind, tasks=fields.get("batch_count") or 1, project=project, prompt=prompt)


def kind_text(kind: Kind) -> str:
    """Return a kind as it is stored in the file."""
    return json.dumps([kind.model, kind.quality_tier, kind.channel, kind.resolution, kind.seconds])


def kind_of_text(text: str) -> Kind:
    """Return a kind from its form in the file."""
    model, quality_tier, channel, resolution, seconds = json.loads(text)
    return Kind(
        model=model, quality_tier=quality_tier, channel=channel, resolution=resolution, seconds=seconds
    )
