"""Rules: the language, its compiler and prelude, kinds, tables, parameters, calendars; see docs/RULES.md. No I/O."""
