"""What a POST asks for, as far as the record is concerned. Pure."""

from __future__ import annotations

import json

from attrs import field, frozen

from seedance_async.models import Kind
from seedance_async.prices import Tariff


@frozen(kw_only=True)
class Asked:
    """What a POST asks for, as far as the record is concerned.

    Attributes:
        key: its idempotency key.
        kind: the class of work.
        tasks: how many tasks it is to start.
        project: whose costs it belongs to; None for nobody's.
        prompt: None where prompts are not recorded.
    """

    key: str
    kind: Kind
    tasks: int = 1
    project: str | None = None
    prompt: str | None = field(default=None, repr=False)

    @property
    def tariff(self) -> Tariff:
        """What its price goes by."""
        return Tariff(self.kind, self.tasks)

    @classmethod
    def of_body(
        cls, body: bytes | None, *, key: str, kind: Kind, project: str | None, with_prompt: bool
    ) -> Asked:
        """What a POST of this body asks for."""
        fields = json.loads(body or b"{}")
        prompt = fields.get("prompt") if with_prompt else None
        return cls(key=key, kind=kind, tasks=fields.get("batch_count") or 1, project=project, prompt=prompt)
