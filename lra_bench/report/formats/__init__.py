"""Tables and pages as HTML, Markdown, LaTeX, CSV and text."""
