"""What a run came to, for people: built as plain values, shown as text or tables."""
