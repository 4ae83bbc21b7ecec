"""How Sphinx builds the documentation; see README.md."""

import doctest
import re

import mereo
from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

project = "mereo"
author = "the mereo authors"
copyright = "the mereo authors; MIT or Apache-2.0"
version = release = mereo.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "sphinx.ext.intersphinx",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = [
    "_build",
    "README.md",
    "gallery",
    "sg_execution_times.rst",
    "auto_gallery/sg_execution_times.rst",
]
templates_path = ["_templates"]

# -- reference ----------------------------------------------------------------------------------------------------------------

autosummary_generate = True
autodoc_typehints = "none"  # what numpydoc says is for people
autodoc_member_order = "bysource"
numpydoc_show_class_members = False  # the template lists them
numpydoc_class_members_toctree = False
toc_object_entries = False

# Links to other projects' references need the network: `-t online` asks for them.
intersphinx_mapping = {
    "python": ("https://docs.python.org/3", None),
    "numpy": ("https://numpy.org/doc/stable", None),
    "scipy": ("https://docs.scipy.org/doc/scipy", None),
    "sklearn": ("https://scikit-learn.org/stable", None),
    "matplotlib": ("https://matplotlib.org/stable", None),
}
if not tags.has("online"):  # noqa: F821 (Sphinx defines it)
    intersphinx_mapping = {}

# Formulas as MathML, which browsers draw themselves: pages need no network.
html_math_renderer = "mathml"


def setup(app):
    """Adds that renderer."""

    def formula(as_block):
        def visit(translator, node):
            # docutils wants braces where TeX does without.
            tex = re.sub(r"\\([td]?frac)(\d)(\d)", r"\\\1{\2}{\3}", node.astext())
            translator.body.append(tex2mathml(tex, as_block=as_block))
            raise nodes.SkipNode

        return visit, None

    app.add_html_math_renderer("mathml", inline_renderers=formula(False), block_renderers=formula(True))


# -- gallery ------------------------------------------------------------------------------------------------------------------

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "auto_gallery",
    "filename_pattern": "/plot_",
    "within_subsection_order": "FileNameSortKey",
    "doc_module": ("mereo",),
    "backreferences_dir": "generated/backreferences",
    "abort_on_example_error": True,
    "capture_repr": (),
    "download_all_examples": False,
    "show_signature": False,
    "image_srcset": ["2x"],
    "min_reported_time": 1e9,
}

# -- examples in the text ---------------------------------------------------------------------------------------------------

# Every page runs in a folder of its own, which is gone afterwards.
doctest_global_setup = """
import importlib.util, os, tempfile, warnings
_home, _folder = os.getcwd(), tempfile.TemporaryDirectory()
os.chdir(_folder.name)
def without(*modules):
    return any(importlib.util.find_spec(name) is None for name in modules)
import numpy as np
import mereo
"""
doctest_global_cleanup = """
os.chdir(_home)
_folder.cleanup()
"""
doctest_default_flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

# -- links --------------------------------------------------------------------------------------------------------------------

linkcheck_ignore = [r"https://doi\.org/.*"]  # publishers turn robots away
linkcheck_timeout = 20
linkcheck_retries = 2

# -- pages --------------------------------------------------------------------------------------------------------------------

html_theme = "pydata_sphinx_theme"
html_title = "mereo"
html_static_path = ["_static"]
html_css_files = ["mereo.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "mereo"},
    "navigation_with_keys": False,
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"api": [], "auto_gallery/**": []}
