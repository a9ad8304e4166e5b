"""The measurements, each with what it runs and the tables it fills."""
