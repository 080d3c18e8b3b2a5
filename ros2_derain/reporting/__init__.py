"""HTML reports, charts, tables, progress, and files that appear whole or not at all."""
