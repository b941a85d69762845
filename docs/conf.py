"""
Sphinx: the prose.  The API is pydoctor's.
"""

project = "punchd"
author = "the punchd authors"
copyright = "2026, the punchd authors"  # noqa: A001
extensions: list[str] = []
exclude_patterns = ["_build", "machines"]
html_theme = "alabaster"
nitpicky = True
