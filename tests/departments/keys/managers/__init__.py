"""Small stand-ins for three secret managers, after their vendors' API references: so the vendor's own client is tested.

They hold everything in memory, answer over HTTP on loopback, and note every call for the test of least rights.
"""
