"""Surgery, replay and verify: a plan becomes a new module that is proved equal to the masked one."""
