"""The auditor's pages on the record: the list, an entry with its proof, charts, seals and verifications, searches.

Nothing here changes the record; what an auditor does with it (exporting, verifying, reading a question) is an event.
"""
