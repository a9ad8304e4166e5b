"""The posture of a service: what its configuration, its files and a running one show, held against a ladder of levels.

Nothing is changed, and nothing is sent anywhere but to the service that is named.
"""
