"""
Sphinx: the prose.  The API is pydoctor's.
"""

project = "punchd"
author = "the punchd authors"
copyright = "2026, the punchd authors"
extensions: list[str] = []
exclude_patterns = ["_build", "examples"]
html_theme = "alabaster"
nitpicky = True
