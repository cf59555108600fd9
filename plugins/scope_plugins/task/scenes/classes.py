"""The object classes of the scenes task and the emoji that show them."""

from __future__ import annotations

GROUPS: dict[str, dict[str, str]] = {
    "animals": {
        "dog": "🐕🐶",
        "cat": "🐈🐱",
        "horse": "🐎🐴",
        "cow": "🐄🐮",
        "pig": "🐖🐷",
        "frog": "🐸",
        "monkey": "🐒🐵",
        "elephant": "🐘",
        "penguin": "🐧",
        "fish": "🐟🐠",
        "butterfly": "🦋",
        "bee": "🐝",
        "turtle": "🐢",
        "snail": "🐌",
        "octopus": "🐙",
        "crab": "🦀",
        "rabbit": "🐇🐰",
    },
    "food": {
        "apple": "🍎🍏",
        "banana": "🍌",
        "grapes": "🍇",
        "strawberry": "🍓",
        "lemon": "🍋",
        "pizza": "🍕",
        "burger": "🍔",
        "cake": "🎂🍰",
        "donut": "🍩",
        "carrot": "🥕",
    },
    "vehicles": {
        "car": "🚗🚙🚕",
        "bus": "🚌🚍",
        "bicycle": "🚲",
        "airplane": "✈",
        "boat": "⛵",
        "train": "🚂🚆",
        "tractor": "🚜",
        "balloon": "🎈",
    },
    "things": {
        "football": "⚽",
        "guitar": "🎸",
        "drum": "🥁",
        "umbrella": "☂☔",
        "clock": "⏰🕒",
        "book": "📕📖",
        "key": "🔑",
        "phone": "📱",
        "camera": "📷",
        "gift": "🎁",
        "tree": "🌳",
        "cactus": "🌵",
        "rose": "🌹",
        "sun": "🌞",
        "crown": "👑",
    },
}
"""Classes of each group, and the emoji of each class. The shipped sprites show the first; training uses all."""

NAMES: tuple[str, ...] = tuple(name for group in GROUPS.values() for name in group)
GROUP_OF: dict[str, str] = {name: group for group, names in GROUPS.items() for name in names}

WEIGHTS: dict[str, int] = {
    name: 3 if rank % 5 == 0 else 1 for group in GROUPS.values() for rank, name in enumerate(group)
}
"""Relative frequency of each class: every fifth is three times as frequent, for POPE's *popular* split."""

PLURALS: dict[str, str] = {
    **{name: f"{name}s" for name in NAMES},
    "fish": "fish",
    "grapes": "grapes",
    "butterfly": "butterflies",
    "strawberry": "strawberries",
    "octopus": "octopuses",
    "bus": "buses",
    "cactus": "cacti",
}
