"""How the book is built: ``sphinx-build -n -W -b html docs docs/_build/html``, or ``make docs``."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

project = "minicontainerd"
copyright = "the minicontainerd authors"
extensions = ["myst_parser", "docs._ext.annotated", "docs._ext.generated"]
exclude_patterns = ["_build", "_ext", "story", "bench"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
highlight_language = "none"

html_theme = "furo"
html_title = "minicontainerd"
html_static_path = ["_static"]
html_css_files = ["book.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
pygments_style = "friendly"
pygments_dark_style = "github-dark"
