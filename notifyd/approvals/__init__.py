"""Asking a person: questions, answers, what is remembered of them."""
