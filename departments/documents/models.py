"""Nothing of a document lies in the control database: see departments/documents/store.py."""
