"""The vendor's prompt guide as code: rules that check prompts, and forms that build them. Pure."""

from seedance_async.prompts.builder import PromptBuilder
from seedance_async.prompts.findings import Finding, Level
from seedance_async.prompts.lint import lint_prompt

__all__ = ["Finding", "Level", "PromptBuilder", "lint_prompt"]
