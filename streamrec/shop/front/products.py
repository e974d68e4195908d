"""What the small shop sells."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Product:
    """One of them."""

    item_id: str
    name: str
    category: str
    price_cents: int

    def plain(self) -> dict[str, Any]:
        return asdict(self)


def _shelf(category: str, *rows: tuple[str, int]) -> list[Product]:
    return [Product(name.lower().replace(" ", "-"), name, category, price) for name, price in rows]


PRODUCTS: tuple[Product, ...] = (
    *_shelf(
        "Hiking",
        ("Trail boots", 12900),
        ("Rucksack", 8900),
        ("Compass", 2400),
        ("Trail map", 1200),
        ("Water bottle", 1900),
        ("Rain jacket", 14900),
        ("Wool socks", 1500),
    ),
    *_shelf(
        "Camping",
        ("Tent", 24900),
        ("Head lamp", 3900),
        ("Camp stove", 5900),
        ("Cooking pot", 3400),
        ("Sleeping mat", 4900),
        ("Pocket knife", 2900),
        ("Lantern", 2700),
    ),
    *_shelf(
        "Music",
        ("Guitar", 39900),
        ("Headphones", 15900),
        ("Microphone", 9900),
        ("Keyboard", 29900),
        ("Drum", 17900),
        ("Violin", 45900),
        ("Trumpet", 32900),
    ),
    *_shelf(
        "Kitchen",
        ("Frying pan", 4500),
        ("Teapot", 3800),
        ("Chopsticks", 900),
        ("Salt mill", 2200),
        ("Bread", 400),
        ("Honey", 700),
        ("Cheese", 1100),
    ),
    *_shelf(
        "Sport",
        ("Football", 2900),
        ("Tennis racket", 8900),
        ("Skateboard", 7900),
        ("Running shoes", 11900),
        ("Boxing gloves", 6900),
        ("Sledge", 5900),
        ("Skis", 34900),
    ),
    *_shelf(
        "Desk",
        ("Notebook", 800),
        ("Fountain pen", 5900),
        ("Scissors", 1100),
        ("Desk lamp", 4900),
        ("Globe", 6900),
        ("Calendar", 1900),
        ("Alarm clock", 2900),
    ),
)

__all__ = ["PRODUCTS", "Product"]
