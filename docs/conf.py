"""Settings of the documentation site, which `make docs` builds into build/docs."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / 'docs' / '_extensions')]

import mmkd_classroom  # noqa: E402

project = 'mmkd_classroom'
author = 'mmkd_classroom contributors'
version = release = mmkd_classroom.__version__

extensions = [
    'myst_parser',
    'sphinx.ext.autodoc',
    'sphinx.ext.mathjax',
    'sphinx.ext.napoleon',
    'command_help',
    'messages_table',
    'options_table',
    'wrong_configs_table',
    'zoo_table',
]
myst_enable_extensions = ['deflist', 'dollarmath']
myst_heading_anchors = 3
exclude_patterns = ['_extensions', '_static']

autodoc_member_order = 'bysource'
autodoc_typehints = 'signature'
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
# A reference of ours that leads nowhere is a warning. Those to other packages have no target here.
nitpicky = True
nitpick_ignore_regex = [('py:.*', r'(?!mmkd_classroom\.).*|.*\._\w+')]

html_theme = 'furo'
html_title = 'mmkd_classroom'
html_static_path = ['_static']
html_css_files = ['site.css']
html_copy_source = False
toc_object_entries_show_parents = 'hide'


def setup(app):
    """Have links to files outside of this folder offered as downloads."""

    def mark(_, __, source):
        source[0] = re.sub(r'\]\((?=(\.\./)+configs/)', '](path:', source[0])

    app.connect('source-read', mark)
