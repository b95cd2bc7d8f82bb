"""Run thousands of Seedance video and image jobs from asyncio, without paying twice or losing one.

    async with SeedanceClient() as client:
        task = await client.generate(Seedance2Video(prompt="A glass train crosses a snowy bridge"))
        await client.download(task, "out")

All public names are here. Each is imported at its first use, so that a command that needs no network does not
load the HTTP stack.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from seedance_async.batch.cells import read_request
    from seedance_async.batch.jobs import Job, JobResult
    from seedance_async.batch.journal.records import Changes
    from seedance_async.batch.run_plan import RunPlan
    from seedance_async.batch.runner import BatchRunner
    from seedance_async.batch.states import State
    from seedance_async.batch.summary import Summary
    from seedance_async.client import SeedanceClient
    from seedance_async.client_events import (
        AttemptEnded,
        ClientEvent,
        RetryPlanned,
        SubmissionAccepted,
        TaskFinished,
    )
    from seedance_async.completions import Completion
    from seedance_async.errors import (
        ApiError,
        CanaryError,
        ClientStateError,
        ConfigurationError,
        ConnectionFailedError,
        CreditCapError,
        DownloadError,
        IdempotencyConflictError,
        InsufficientCreditsError,
        InternalServerError,
        InvalidRequestError,
        JournalError,
        ManifestError,
        MediaError,
        NotFoundError,
        OutputMissingError,
        RateLimitedError,
        RecordError,
        SeedanceError,
        ServiceBusyError,
        StaleKeyError,
        StandingLimitError,
        TaskFailedError,
        UnauthorizedError,
        UncertainInternalServerError,
        UncertainServiceBusyError,
        UncertainSubmissionError,
        UnexpectedReplyError,
        ValidationError,
        WaitTimeoutError,
    )
    from seedance_async.media.inspection import InputFile
    from seedance_async.media.publisher import MediaStore
    from seedance_async.models import (
        BaseRequest,
        CreditLimits,
        Delivered,
        GptImage2,
        ImageAspectRatio,
        ImageChannel,
        ImageOutput,
        ImageResolution,
        ImageSize,
        ImageType,
        Kind,
        Link,
        NanoBananaPro,
        Output,
        OutputFormat,
        OutputImage,
        QualityTier,
        RateLimit,
        Request,
        RetryPolicy,
        Seedance2Video,
        Submission,
        Task,
        Timeouts,
        VideoAspectRatio,
        VideoChannel,
        VideoMode,
        VideoOutput,
        VideoResolution,
    )
    from seedance_async.prompts.builder import PromptBuilder
    from seedance_async.prompts.findings import Finding
    from seedance_async.prompts.lint import lint_prompt
    from seedance_async.scheduling.duration import Duration
    from seedance_async.scheduling.forecast import Forecast
    from seedance_async.usage import Usage

__version__ = "0.1.0"

__all__ = [
    "ApiError",
    "AttemptEnded",
    "BaseRequest",
    "BatchRunner",
    "CanaryError",
    "Changes",
    "ClientEvent",
    "ClientStateError",
    "Completion",
    "ConfigurationError",
    "ConnectionFailedError",
    "CreditCapError",
    "CreditLimits",
    "Delivered",
    "DownloadError",
    "Duration",
    "Finding",
    "Forecast",
    "GptImage2",
    "IdempotencyConflictError",
    "ImageAspectRatio",
    "ImageChannel",
    "ImageOutput",
    "ImageResolution",
    "ImageSize",
    "ImageType",
    "InputFile",
    "InsufficientCreditsError",
    "InternalServerError",
    "InvalidRequestError",
    "Job",
    "JobResult",
    "JournalError",
    "Kind",
    "Link",
    "ManifestError",
    "MediaError",
    "MediaStore",
    "NanoBananaPro",
    "NotFoundError",
    "Output",
    "OutputFormat",
    "OutputImage",
    "OutputMissingError",
    "PromptBuilder",
    "QualityTier",
    "RateLimit",
    "RateLimitedError",
    "RecordError",
    "Request",
    "RetryPlanned",
    "RetryPolicy",
    "RunPlan",
    "Seedance2Video",
    "SeedanceClient",
    "SeedanceError",
    "ServiceBusyError",
    "StaleKeyError",
    "StandingLimitError",
    "State",
    "Submission",
    "SubmissionAccepted",
    "Summary",
    "Task",
    "TaskFailedError",
    "TaskFinished",
    "Timeouts",
    "UnauthorizedError",
    "UncertainInternalServerError",
    "UncertainServiceBusyError",
    "UncertainSubmissionError",
    "UnexpectedReplyError",
    "Usage",
    "ValidationError",
    "VideoAspectRatio",
    "VideoChannel",
    "VideoMode",
    "VideoOutput",
    "VideoResolution",
    "WaitTimeoutError",
    "lint_prompt",
    "read_request",
]

_ROOMS: Final = {
    "batch.cells": {"read_request"},
    "batch.jobs": {"Job", "JobResult"},
    "batch.journal.records": {"Changes"},
    "batch.run_plan": {"RunPlan"},
    "batch.runner": {"BatchRunner"},
    "batch.states": {"State"},
    "batch.summary": {"Summary"},
    "client": {"SeedanceClient"},
    "client_events": {"AttemptEnded", "ClientEvent", "RetryPlanned", "SubmissionAccepted", "TaskFinished"},
    "completions": {"Completion"},
    "media.inspection": {"InputFile"},
    "media.publisher": {"MediaStore"},
    "models": {
        "BaseRequest", "CreditLimits", "Delivered", "GptImage2", "ImageAspectRatio", "ImageChannel",
        "ImageOutput", "ImageResolution", "ImageSize", "ImageType", "Kind", "Link", "NanoBananaPro",
        "Output", "OutputFormat", "OutputImage", "QualityTier", "RateLimit", "Request", "RetryPolicy",
        "Seedance2Video", "Submission", "Task", "Timeouts", "VideoAspectRatio", "VideoChannel", "VideoMode",
        "VideoOutput", "VideoResolution",
    },
    "prompts.builder": {"PromptBuilder"},
    "prompts.findings": {"Finding"},
    "prompts.lint": {"lint_prompt"},
    "scheduling.duration": {"Duration"},
    "scheduling.forecast": {"Forecast"},
    "usage": {"Usage"},
}  # fmt: skip
_ROOM_OF: Final = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_ROOM_OF.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
