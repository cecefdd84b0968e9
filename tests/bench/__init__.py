"""Benches: `make bench`. They print figures and judge nothing; docs/performance.md says under which conditions."""
