"""Draw a picture for an address that leads nowhere.

The sandbox gives addresses of pictures on hosts that do not exist, as WhatsApp gives addresses that expire; a product would
keep copies. Here the picture is drawn from the address, so that another address is another picture.
"""

import hashlib

_GROUNDS = ("#f2b8a0", "#f6d186", "#bfd8a5", "#9fd3c7", "#a3c4e8", "#c9b6e4", "#efb5cf", "#d8c3a5")
_CLOTHES = ("#7a3b2e", "#8a5a00", "#3f6b2a", "#1e6a5b", "#27548a", "#5b3f8c", "#8a2f5c", "#5e4a2e")
_SKINS = ("#f7d9c4", "#eec1a2", "#d9a07a", "#b97d56", "#8d5a3b", "#5f3b27")
_HAIRS = ("#2b1b12", "#4a2f1b", "#7b4a21", "#a8742f", "#3b3b44", "#8a8a92")


def draw(address: str, *, is_group: bool) -> str:
    """An SVG of 96 by 96; the same for the same address."""
    dice = hashlib.sha256(address.encode()).digest()
    heads = _crowd(dice) if is_group else _head(dice, x=48, y=42, size=1.0)
    ground = _GROUNDS[dice[20] % len(_GROUNDS)]
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 96 96" width="96" height="96">'
        f'<rect width="96" height="96" fill="{ground}"/>{heads}</svg>'
    )


def _crowd(dice: bytes) -> str:
    places = ((26, 44, 0.62), (70, 44, 0.62), (48, 52, 0.78))
    return "".join(_head(dice[5 * index :], x=x, y=y, size=size) for index, (x, y, size) in enumerate(places))


def _head(dice: bytes, *, x: int, y: int, size: float) -> str:
    skin, hair = _SKINS[dice[1] % len(_SKINS)], _HAIRS[dice[2] % len(_HAIRS)]
    clothes, fringe = _CLOTHES[dice[3] % len(_CLOTHES)], dice[4] % 3
    shapes = (
        f'<ellipse cx="0" cy="52" rx="34" ry="26" fill="{clothes}"/>'
        f'<rect x="-7" y="14" width="14" height="18" rx="6" fill="{skin}"/>'
        f'<ellipse cx="0" cy="-6" rx="{21 + 2 * fringe}" ry="{22 + fringe}" fill="{hair}"/>'
        f'<circle cx="0" cy="2" r="17" fill="{skin}"/>'
        f'<path d="M-18 -2 Q{-6 + 6 * fringe} -24 18 -2 Q4 -{8 + 2 * fringe} -18 -2Z" fill="{hair}"/>'
        '<circle cx="-6" cy="3" r="1.8" fill="#222"/><circle cx="6" cy="3" r="1.8" fill="#222"/>'
        '<path d="M-5 10 Q0 14 5 10" stroke="#222" stroke-width="1.6" fill="none" stroke-linecap="round"/>'
    )
    return f'<g transform="translate({x} {y}) scale({size})">{shapes}</g>'
