"""What is remembered of calls: records, transcripts, the caller's language."""
