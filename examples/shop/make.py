"""Writes customers.csv, items.csv and log.csv: a shop that does not exist, ten weeks long. The same at each run.

Each customer is fond of two or three shelves, and of either what is plain or what has colours; now and then a week has
a shelf of its own that many look at. What they are shown is half chance, half a guess at that; of what they like they
click more, and of what they clicked they buy some.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

HERE = Path(__file__).parent
SEED = 7
CUSTOMERS, DAYS = 260, 70
START = datetime(2024, 4, 1, tzinfo=UTC)
# Title, material, price; `plain` or `colour` after the bar.
SHELVES: dict[str, str] = {
    "tea": """
        Sencha, first harvest; leaves; 14 | plain
        Hojicha, dark roast; leaves; 9.5 | plain
        Genmaicha with puffed rice; leaves; 8.5 | plain
        High mountain oolong; leaves; 19 | plain
        Jasmine pearls; leaves; 16.5 | colour
        Darjeeling, second flush; leaves; 13 | plain
        Earl Grey with bergamot; leaves; 8 | colour
        Lapsang Souchong; leaves; 11 | plain
        White peony; leaves; 17.5 | plain
        Rooibos with orange peel; leaves; 7.5 | colour
        Mint, whole leaves; leaves; 6.5 | colour
        Hibiscus and rose hip; leaves; 7 | colour""",
    "cups": """
        Stoneware mug, ash grey; stoneware; 18 | plain
        Stoneware mug, moss; stoneware; 18 | colour
        Espresso cup without a handle; porcelain; 12 | plain
        Tea bowl, iron glaze; stoneware; 34 | plain
        Tea bowl, celadon; stoneware; 36 | colour
        Enamel mug, blue rim; enamel; 11 | colour
        Glass tumbler, ribbed; glass; 9 | plain
        Double-walled glass; glass; 15 | plain
        Saucer, indigo brushstroke; porcelain; 8 | colour
        Sake cup, set of two; porcelain; 24 | plain
        Travel cup, cork band; glass; 22 | plain
        Mug with a painted hare; porcelain; 21 | colour""",
    "pots": """
        Cast-iron teapot, 0.8 l; iron; 68 | plain
        Glass teapot with a sieve; glass; 39 | plain
        Side-handled kyusu, red clay; clay; 74 | colour
        Gooseneck kettle; steel; 59 | plain
        Butter-yellow enamel pot; enamel; 42 | colour
        Milk pan, copper; copper; 88 | colour
        Small casserole with a lid; iron; 96 | plain
        Bamboo steamer, two tiers; bamboo; 27 | plain
        Moka pot for three; steel; 31 | plain
        Stove-top popcorn pan; steel; 36 | plain""",
    "knives": """
        Paring knife, beech handle; steel, wood; 16 | plain
        Petty knife, 13 cm; steel, wood; 72 | plain
        Bread knife; steel, wood; 44 | plain
        Chopping board, end grain; wood; 58 | plain
        Chopping board with a groove; wood; 33 | plain
        Whetstone 1000/6000; stone; 49 | plain
        Herb scissors; steel; 19 | plain
        Nutmeg grater; steel; 8 | plain
        Vegetable peeler, red; steel; 7 | colour
        Knife roll, waxed canvas; canvas; 54 | colour""",
    "linen": """
        Tea towel, natural linen; linen; 13 | plain
        Tea towel, marigold; linen; 14 | colour
        Table runner, undyed; linen; 38 | plain
        Napkins, set of four, brick; linen; 32 | colour
        Apron with deep pockets; linen; 49 | plain
        Waffle towel, sand; cotton; 22 | plain
        Waffle towel, petrol; cotton; 22 | colour
        Cushion cover, ikat; cotton; 29 | colour
        Wool throw, herringbone; wool; 115 | plain
        Wool throw, plum; wool; 115 | colour
        Oven glove, quilted; cotton; 17 | colour""",
    "paper": """
        Notebook, dotted, A5; paper; 12 | plain
        Notebook, Japanese binding; paper; 19 | colour
        Letter paper, cotton; paper; 16 | plain
        Fountain pen, fine; steel; 38 | plain
        Ink, blue-black; glass; 11 | plain
        Ink, burnt orange; glass; 11 | colour
        Brass pencil sharpener; brass; 14 | plain
        Pencils, twelve, cedar; wood; 15 | plain
        Watercolours, half pans; paint; 46 | colour
        Wrapping paper, block print; paper; 6 | colour
        Desk calendar, linocut; paper; 21 | colour
        Washi tape, five rolls; paper; 9 | colour""",
    "light": """
        Beeswax candle, tall; wax; 7 | plain
        Beeswax tea lights, twelve; wax; 12 | plain
        Candle, rust; wax; 6 | colour
        Candle, sea green; wax; 6 | colour
        Brass candlestick; brass; 34 | plain
        Paper lantern, round; paper; 18 | plain
        Paper lantern, folded, coral; paper; 23 | colour
        Reading lamp, oak; wood; 129 | plain
        Storm lantern; glass, steel; 45 | plain
        Matches in a bottle; glass; 13 | colour""",
    "garden": """
        Hand trowel, ash handle; steel, wood; 24 | plain
        Secateurs; steel; 52 | plain
        Watering can, zinc, 5 l; zinc; 47 | plain
        Watering can, tomato red; steel; 39 | colour
        Twine in a tin; jute; 10 | plain
        Seed box with dividers; wood; 31 | plain
        Sweet pea seeds; seeds; 4 | colour
        Nasturtium seeds; seeds; 3.5 | colour
        Chervil and sorrel seeds; seeds; 3.5 | plain
        Terracotta pot, 14 cm; clay; 9 | plain
        Glazed pot, cobalt; clay; 19 | colour
        Bird feeder, cedar; wood; 36 | plain""",
    "pantry": """
        Acacia honey; glass; 9 | plain
        Quince jelly; glass; 7.5 | colour
        Bitter orange marmalade; glass; 7 | colour
        Sea salt flakes; paper; 6 | plain
        Smoked paprika in a tin; tin; 5.5 | colour
        Sourdough crackers; paper; 4.5 | plain
        Dark chocolate, 75 %; paper; 5 | plain
        Olive oil, early harvest; glass; 22 | plain
        Rice vinegar, aged; glass; 13 | plain
        Candied ginger; paper; 6.5 | colour""",
}
COUNTRIES = ("DE", "DK", "FR", "NL", "PL")
WEEKS = ("garden", "tea", "paper", "garden", "linen", "cups", "pantry", "light", "pots", "knives")
"""The shelf of each week."""


@dataclass(frozen=True)
class Item:
    """One thing on a shelf."""

    sku: str
    title: str
    shelf: str
    materials: tuple[str, ...]
    style: str
    price: float


@dataclass(frozen=True)
class Customer:
    """Who is fond of what."""

    name: str
    country: str
    since: int
    fond: tuple[str, ...]
    style: str
    visits: float


def items() -> list[Item]:
    """All shelves, in their order."""
    found = []
    for shelf, lines in SHELVES.items():
        for number, line in enumerate(lines.strip().splitlines(), 1):
            about, style = (part.strip() for part in line.split("|"))
            title, materials, price = (part.strip() for part in about.rsplit(";", 2))
            found.append(Item(f"{shelf}-{number}", title, shelf, tuple(materials.split(", ")), style, float(price)))
    return found


def customers(random: Random) -> list[Customer]:
    """People by number: a made-up name would be somebody's."""
    return [
        Customer(
            name=f"c{number:03}",
            country=random.choice(COUNTRIES),
            since=random.randint(2017, 2024),
            fond=tuple(random.sample(list(SHELVES), random.choice((2, 3)))),
            style=random.choice(("plain", "colour")),
            visits=random.choice((1.5, 3, 3, 6)),
        )
        for number in range(1, CUSTOMERS + 1)
    ]


def liking(customer: Customer, item: Item, day: int) -> float:
    """How much, from 0 to 1."""
    shelf = 0.6 if item.shelf in customer.fond else 0.25 if item.shelf == WEEKS[day // 7] else 0.05
    return shelf * (1.4 if item.style == customer.style else 0.6)


def log(random: Random, goods: Sequence[Item], people: Sequence[Customer]) -> list[tuple[datetime, list[str]]]:
    """What happened, in the order of time."""
    rows = []
    for customer in people:
        for _ in range(max(1, round(random.gauss(customer.visits, 1)))):
            day, device = random.randrange(DAYS), random.choice(("phone", "phone", "desktop"))
            moment = START + timedelta(days=day, minutes=random.randint(7 * 60, 23 * 60), seconds=random.randint(0, 59))
            guessed = random.choices(goods, [liking(customer, item, day) for item in goods], k=4)
            for item in dict.fromkeys([*guessed, *random.choices(goods, k=3)]):
                for action in actions(random, liking(customer, item, day)):
                    moment += timedelta(seconds=random.randint(4, 50))
                    rows.append((moment, [customer.name, item.sku, action, moment.isoformat(), device]))
    return sorted(rows, key=lambda row: row[0])


def actions(random: Random, liked: float) -> list[str]:
    """Seen, perhaps clicked, perhaps bought."""
    if random.random() > liked:
        return ["impression"]
    return ["impression", "click", *(["purchase"] if random.random() < liked / 3 else [])]


def write(path: Path, names: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """One file."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(rows)


def main(folder: Path = HERE) -> None:
    """All three."""
    random = Random(SEED)
    goods, people = items(), customers(random)
    prices = [(one.sku, one.title, one.shelf, "|".join(one.materials), f"{one.price:.2f}") for one in goods]
    write(folder / "items.csv", ("sku", "title", "shelf", "materials", "price"), prices)
    write(folder / "customers.csv", ("customer", "country", "since"), [(p.name, p.country, p.since) for p in people])
    rows = (row for _, row in log(random, goods, people))
    write(folder / "log.csv", ("customer", "sku", "action", "at", "device"), rows)


if __name__ == "__main__":
    main()
