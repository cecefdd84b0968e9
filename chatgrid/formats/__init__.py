"""How dates and times are written, one folder a language: Django reads them through FORMAT_MODULE_PATH."""
