"""What happened: the event catalogue, the sinks that events go to, and the table at a run's end."""
