"""The product people touch, and its wiring."""

from chatgrid.celery import app as celery_app

__all__ = ["celery_app"]
