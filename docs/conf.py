"""The site: ``make docs`` writes it to build/site.

The sources are those of the whole repository, not of docs/ alone: so the pages' links to CONTRIBUTING.md and to results
of benchmarks, which are right where the repository is read, are links inside the site as well.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "_ext"))

import odenets  # noqa: E402 - once the extensions can be found

project = "odenets"
author = "The odenets developers"
copyright = f"2026, {author}"
version = release = odenets.__version__

extensions = [
    "myst_nb",  # pages in Markdown; those of tutorials/ are run, and fail the build where their Python fails
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    # of this site, in _ext/
    "mathml",
    "plain_docstrings",
    "reference_pages",
    "scheme_pages",
    "explorer_page",
    "repository_folders",
    "no_requests",
]
root_doc = "docs/index"
include_patterns = ["docs/**", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/results/**"]
exclude_patterns = [".*", "build", "out", "data", "tests", "**/README.md"]
nitpicky = True
# Types in signatures are torch's and Python's own, whose pages are on other hosts; the roles of docstrings also name
# what is not public.
nitpick_ignore_regex = [("py:.*", ".*")]

myst_enable_extensions = ["dollarmath", "attrs_block"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_merge_streams = True
nb_mime_priority_overrides = [("html", "text/latex", 5)]  # a scheme, an equation: as a formula, not as its text

default_role = "literal"
smartquotes_action = "D"  # dashes alone: the prime of u' is no quote
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
maximum_signature_line_length = 90
napoleon_use_ivar = True
python_use_unqualified_type_names = True
toc_object_entries = False

html_theme = "furo"
html_title = f"odenets {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path = ["_extra"]  # index.html, which leads from the folder to the start page
html_show_sourcelink = False
html_copy_source = False
