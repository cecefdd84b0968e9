"""The provider's Admin API: projects, service accounts, keys, fences, usage, audit log, shaped as its SDK expects.

Rules:
- An admin key belongs to one OpenAI organization. A well-formed admin key nobody has seen before opens one of its own;
  `/__simulator/admin/keys` puts several into one, or makes one a person's who clicks in OpenAI's dashboard.
- Keys made here work on the model endpoints at once, and what their project may do is enforced there (`fence.py`).
- Keys are kept as fingerprints; a value is told once, in the answer that makes it.
- It can be told to fail before or after an effect, to be slow, and to forget late (`switches.py`, `control.py`).
"""
