"""Texts about what a run is about to send and what it may cost, for a dry run and before a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seedance_async.batch.states import State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from seedance_async.batch.run_plan import RunPlan


def plan_line(plan: RunPlan) -> str:
    """Return the plan in one line."""
    parts = [jobs_words(plan)]
    if plan.credits_high or plan.unpriced:
        parts.append(f"credits expected: {credits_words(plan)}")
    if plan.max_credits is not None:
        parts.append(f"cap: {cap_words(plan)}")
    return " · ".join(parts)


def plan_fields(plan: RunPlan) -> Mapping[str, object]:
    """Return the plan as JSON, with the field names of ``seedance estimate --json``."""
    return {"counts": plan.counts, "jobs": plan.to_send, "later": plan.later, **credit_fields(plan)}


def credit_fields(plan: RunPlan) -> dict[str, object]:
    """Return the cost, and whether the cap is enough, as JSON."""
    priced = [plan.credits_low, plan.credits_high]
    return {
        "credits": None if plan.unpriced else priced,
        "credits_of_priced_jobs": priced,
        "jobs_without_price": plan.unpriced,
        "credits_spent": plan.credits_spent,
        "max_credits": plan.max_credits,
        "fits_cap": plan.fits_cap,
    }


def jobs_words(plan: RunPlan) -> str:
    """Return the number of jobs to send, and the states of the others."""
    to_send = f"{plan.to_send:,} to send"
    others = {str(state): plan.counts.get(state, 0) for state in State if state is not State.PLANNED}
    others["left for later"] = plan.later
    done = ", ".join(f"{count:,} {words}" for words, count in others.items() if count)
    return f"{to_send} of {plan.total:,}; {done}" if done else to_send


def credits_words(plan: RunPlan) -> str:
    """Return the expected cost, as far as it is known."""
    asked = plan.to_send + plan.counts.get(State.SUBMITTING, 0)
    if plan.unpriced == asked > 0:
        text = "unknown: no price of such jobs has been reported"
    else:
        text = f"{range_words(plan.credits_low, plan.credits_high)}{_unpriced(plan)}"
    return f"{text}, in addition to {plan.credits_spent:,.10g} spent" if plan.credits_spent else text


def cap_words(plan: RunPlan) -> str:
    """Return the cap, and whether it is enough."""
    whole = f"{plan.credits_spent + plan.credits_high:,.10g}{_unpriced(plan)}"
    verdict = {
        True: "enough for all jobs",
        False: f"too little for all jobs, which cost up to {whole}: the run will stop before the end",
        None: f"maybe too little for all jobs, which cost up to {whole}",
    }[plan.fits_cap]
    return f"{plan.max_credits or 0:,.10g} over all runs, {verdict}"


def range_words(low: float, high: float) -> str:
    """Return ``8 to 12``, or ``30``."""
    return f"{low:,.10g}" if low == high else f"{low:,.10g} to {high:,.10g}"


def _unpriced(plan: RunPlan) -> str:
    if not plan.unpriced:
        return ""
    return f" and the unknown price of {plan.unpriced:,} {'job' if plan.unpriced == 1 else 'jobs'}"
