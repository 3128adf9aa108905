"""What is attached to what, drawn: as a tree of text, and as a picture.

Both are made of the same :class:`Drawing`, which says for one network which interfaces of the host it has, and for each
attachment its container, its addresses, the host's end of its cable, and its published ports. It is all in the results
that the library remembers, so drawing asks neither the kernel nor a plugin.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from .cache import Remembered
from .config import Network

_BOX, _GAP, _LINE = 190, 20, 17  # pixels


@dataclass(frozen=True)
class Attached:
    """One container on the network."""

    container: str
    ifname: str
    addresses: tuple[str, ...]
    port: str
    published: tuple[str, ...]


@dataclass(frozen=True)
class Drawing:
    """One network."""

    name: str
    version: str
    plugins: tuple[str, ...]
    bridge: str
    gateways: tuple[str, ...]
    attached: tuple[Attached, ...]


def drawing(network: Network, remembered: Iterable[Remembered]) -> Drawing:
    """The *network* with those *remembered* as attached to it."""
    attached, bridge, gateways = [], "", []
    for known in remembered:
        result = known.result or {"interfaces": [], "ips": []}
        outside = [each["name"] for each in result["interfaces"] if not each.get("sandbox")]
        if len(outside) > 1:
            bridge = outside[0]
        gateways += [
            each["gateway"] for each in result["ips"] if each.get("gateway") and each["gateway"] not in gateways
        ]
        mappings = known.attachment.capability_args.get("portMappings") or []
        attached.append(
            Attached(
                container=known.attachment.container_id,
                ifname=known.attachment.ifname,
                addresses=tuple(each["address"] for each in result["ips"]),
                port=outside[-1] if outside else "",
                published=tuple(_published(each) for each in mappings),
            )
        )
    plugins = tuple(plugin["type"] for plugin in network.plugins)
    return Drawing(network.name, network.version, plugins, bridge, tuple(gateways), tuple(attached))


def as_tree(drawn: Drawing) -> str:
    """Indented text.

    >>> one = Attached("default-web", "eth0", ("10.1.0.5/16",), "veth3f0c", ("8080 → 80/tcp",))
    >>> print(as_tree(Drawing("web", "1.0.0", ("bridge", "portmap"), "cni0", ("10.1.0.1",), (one,))))
    web  CNI 1.0.0: bridge, portmap
    └── cni0  10.1.0.1
        └── veth3f0c ── eth0 of default-web  10.1.0.5/16  8080 → 80/tcp
    """
    lines = [f"{drawn.name}  CNI {drawn.version}: {', '.join(drawn.plugins)}"]
    indent = ""
    if drawn.bridge:
        lines.append(f"└── {drawn.bridge}  {', '.join(drawn.gateways)}")
        indent = "    "
    for number, each in enumerate(drawn.attached):
        corner = "└──" if number == len(drawn.attached) - 1 else "├──"
        cable = f"{each.port} ── " if each.port else ""
        more = "  ".join([", ".join(each.addresses), *each.published])
        lines.append(f"{indent}{corner} {cable}{each.ifname} of {each.container}  {more}")
    if not drawn.attached:
        lines.append("└── nobody is attached")
    return "\n".join(lines)


def as_svg(drawn: Drawing) -> str:
    """A picture that stands alone: the host above with its switch, a box for each container below."""
    count = max(1, len(drawn.attached))
    width = count * (_BOX + _GAP) + _GAP
    tallest = max((len(_lines_of(each)) for each in drawn.attached), default=1)
    height = 150 + tallest * _LINE + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="13">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        _text(_GAP, 24, f"{drawn.name}: {', '.join(drawn.plugins)}", "bold"),
        f'<rect x="{_GAP}" y="40" width="{width - 2 * _GAP}" height="40" rx="6" fill="#dbe9f6" stroke="#456"/>',
        _text(_GAP + 10, 65, "  ".join([drawn.bridge or "the host", *drawn.gateways])),
    ]
    for number, each in enumerate(drawn.attached):
        parts += _container(each, _GAP + number * (_BOX + _GAP), tallest)
    return "\n".join([*parts, "</svg>\n"])


def _container(each: Attached, left: int, tallest: int) -> list[str]:
    middle = left + _BOX // 2
    return [
        f'<line x1="{middle}" y1="80" x2="{middle}" y2="130" stroke="#456"/>',
        _text(middle + 6, 100, each.port),
        _text(middle + 6, 122, each.ifname),
        f'<rect x="{left}" y="130" width="{_BOX}" height="{tallest * _LINE + 14}" rx="6" fill="#eef6e4" '
        'stroke="#456"/>',
        *(
            _text(left + 8, 148 + row * _LINE, line, "bold" if row == 0 else "normal")
            for row, line in enumerate(_lines_of(each))
        ),
    ]


def _lines_of(each: Attached) -> list[str]:
    return [each.container, *each.addresses, *each.published]


def _text(left: int, base: int, text: str, weight: str = "normal") -> str:
    return f'<text x="{left}" y="{base}" font-weight="{weight}">{escape(text)}</text>'


def _published(mapping: dict[str, object]) -> str:
    address = f"{mapping['hostIP']}:" if mapping.get("hostIP") else ""
    return f"{address}{mapping['hostPort']} → {mapping['containerPort']}/{mapping.get('protocol', 'tcp')}"
