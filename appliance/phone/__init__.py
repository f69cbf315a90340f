"""Real test calls: telephones nobody here wrote, what they said and heard, and a report of it.

A call is placed by two baresip processes (`baresip`), which take turns (`conversation`) and record both directions
(`recording`); delays are measured in those recordings (`speech_edges`, `measure`), what was heard is recognised again
(`heard`), and all of it becomes `report.json` (`report`).
"""
