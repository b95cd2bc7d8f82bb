"""Requests, answers and settings: frozen classes whose instances are always valid. Pure."""

from seedance_async.answers import ImageOutput, Output, OutputImage, Submission, Task, VideoOutput
from seedance_async.models.delivered import Delivered
from seedance_async.models.kinds import Kind
from seedance_async.models.links import Link
from seedance_async.models.local_files import LocalFile
from seedance_async.models.requests import (
    MEDIA_FIELDS,
    REQUEST_TYPES,
    GptImage2,
    ImageAspectRatio,
    ImageChannel,
    ImageResolution,
    ImageSize,
    ImageType,
    NanoBananaPro,
    OutputFormat,
    QualityTier,
    Request,
    Seedance2Video,
    VideoAspectRatio,
    VideoChannel,
    VideoMode,
    VideoResolution,
    links,
    local_files,
    media,
)
from seedance_async.models.settings import CreditLimits, RateLimit, RetryPolicy, Timeouts, time_scale

__all__ = [
    "MEDIA_FIELDS",
    "REQUEST_TYPES",
    "CreditLimits",
    "Delivered",
    "GptImage2",
    "ImageAspectRatio",
    "ImageChannel",
    "ImageOutput",
    "ImageResolution",
    "ImageSize",
    "ImageType",
    "Kind",
    "Link",
    "LocalFile",
    "NanoBananaPro",
    "Output",
    "OutputFormat",
    "OutputImage",
    "QualityTier",
    "RateLimit",
    "Request",
    "RetryPolicy",
    "Seedance2Video",
    "Submission",
    "Task",
    "Timeouts",
    "VideoAspectRatio",
    "VideoChannel",
    "VideoMode",
    "VideoOutput",
    "VideoResolution",
    "links",
    "local_files",
    "media",
    "time_scale",
]
