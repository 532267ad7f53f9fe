"""Prometheus metrics of a recall service, and what changed between two looks at them."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx
from prometheus_client.parser import text_string_to_metric_families

from pagoda.access.tokens import bearer
from pagoda.errors import UnavailableError

Labels = tuple[tuple[str, str], ...]
_SECONDS = 2.0


@dataclass(frozen=True)
class Scrape:
    """All samples at one moment, by name and sorted labels."""

    at: float
    samples: Mapping[str, Mapping[Labels, float]]

    def of(self, name: str, **labels: str) -> dict[Labels, float]:
        """The samples of a name that have these labels."""
        wanted = set(labels.items())
        return {key: value for key, value in self.samples.get(name, {}).items() if wanted <= set(key)}

    def total(self, name: str, **labels: str) -> float:
        """Their sum."""
        return sum(self.of(name, **labels).values())


def look(url: str, token: str = "") -> Scrape:
    """Read the metrics below a base URL, showing a token.

    Raises:
        UnavailableError: They cannot be read.
    """
    try:
        answer = httpx.get(f"{url.rstrip('/')}/metrics", headers=bearer(token), timeout=_SECONDS).raise_for_status()
        return parse(answer.text, time.monotonic())
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise UnavailableError(f"metrics of {url}: {str(error) or type(error).__name__}") from error
    except ValueError as error:  # Another service answers there.
        raise UnavailableError(f"metrics of {url}: not in Prometheus' text format ({error})") from error


def parse(text: str, at: float) -> Scrape:
    """What a service answers, read at the moment `at`."""
    samples: defaultdict[str, dict[Labels, float]] = defaultdict(dict)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            samples[sample.name][tuple(sorted(sample.labels.items()))] = sample.value
    return Scrape(at, samples)


@dataclass(frozen=True)
class MetricChange:
    """What happened between two looks."""

    before: Scrape
    now: Scrape
    seconds: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "seconds", max(self.now.at - self.before.at, 1e-9))

    def rate(self, name: str, **labels: str) -> float:
        """How much a counter grew a second; one that began anew counts from zero."""
        return self.growth(name, **labels) / self.seconds

    def growth(self, name: str, **labels: str) -> float:
        """How much a counter grew."""
        before = self.before.of(name, **labels)
        return sum(_grown(before.get(key, 0.0), value) for key, value in self.now.of(name, **labels).items())

    def quantile(self, share: float, name: str, **labels: str) -> float | None:
        """A quantile of what a histogram took in, linear within a bucket as Prometheus has it; None of nothing."""
        before = self.before.of(f"{name}_bucket", **labels)
        counts: defaultdict[float, float] = defaultdict(float)
        for key, value in self.now.of(f"{name}_bucket", **labels).items():
            counts[float(dict(key)["le"])] += _grown(before.get(key, 0.0), value)
        edges = sorted(counts)
        if not edges or not counts[edges[-1]]:
            return None
        wanted, low, below = share * counts[edges[-1]], 0.0, 0.0
        for edge in edges:
            if counts[edge] >= wanted:
                if math.isinf(edge):
                    return low
                inside = counts[edge] - below
                return low + (edge - low) * ((wanted - below) / inside if inside else 1.0)
            low, below = edge, counts[edge]
        return low


def _grown(before: float, now: float) -> float:
    return now - before if now >= before else now
