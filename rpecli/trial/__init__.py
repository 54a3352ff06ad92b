"""Tries a user's encodings and tasks on a tiny batch, in a process of its own, before anything is created or trained."""
