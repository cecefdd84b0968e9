"""The record: what happened, written before and after it happened. Imports nothing of ours."""
