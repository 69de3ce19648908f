"""The weekly mail: how the machine was, with what the app has to tell of its week."""
