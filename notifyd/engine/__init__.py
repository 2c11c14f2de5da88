"""The life of one notification: received, decided, answered; and the loop that drives it."""
