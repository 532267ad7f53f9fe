"""Raw logs as people have them, small: the same events in four forms, each with what makes it raw."""

from __future__ import annotations

import csv
import json
import random
from datetime import UTC, datetime
from pathlib import Path

Events = list[tuple[int, int, int, int]]


def events(users: int = 60, each: int = 12) -> Events:
    """User, item, rating and second of events."""
    drawn, found = random.Random(1), []
    for user in range(users):
        now = 1_700_000_000 + drawn.randrange(86_400)
        for _ in range(each):
            now += drawn.randrange(60, 86_400)
            found.append((user, drawn.randrange(40), drawn.choice((1, 2, 3, 4, 5, 5)), now))
    return found


def taobao(path: Path, given: Events) -> None:
    """No header: user, item, category, behaviour, seconds."""
    behaviours = ("pv", "pv", "fav", "cart", "buy")
    rows = [
        (1_000_000 + u, 5_000_000 + i, 9_000 + i % 12, behaviours[n % 5], t) for n, (u, i, _, t) in enumerate(given)
    ]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def ratings(path: Path, given: Events) -> None:
    """Two colons between columns without names."""
    path.write_text("".join(f"{u + 1}::{i + 1}::{r}::{t}\n" for u, i, r, t in given))


def guests(path: Path, given: Events) -> None:
    """An order log: guests, returns, day first, decimal commas, Latin-1, items' columns inside."""
    with path.open("w", newline="", encoding="latin-1") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(["Invoice", "StockCode", "Description", "Quantity", "InvoiceDate", "Price", "Customer ID"])
        for n, (u, i, r, t) in enumerate(given):
            moment = datetime.fromtimestamp(t, UTC).strftime("%d/%m/%Y %H:%M")
            user, quantity = "" if n % 7 == 0 else f"{12000 + u}.0", -r if n % 50 == 0 else r
            row = [536000 + n // 3, f"S{i:05d}", f"caf\u00e9 mug {i}", quantity, moment, f"{1 + i % 9},99", user]
            writer.writerow(row)


def reviews(path: Path, given: Events) -> None:
    """JSON lines with ratings, a list, and days for moments."""
    with path.open("w") as file:
        for u, i, r, t in given:
            row = {"reviewerID": f"A{u:06d}", "asin": f"B{i:06d}", "overall": float(r)}
            row |= {"unixReviewTime": t - t % 86_400, "summary": f"item {i}", "helpful": [r, 5]}
            file.write(json.dumps(row) + "\n")
