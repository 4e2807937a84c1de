"""Profiles run at their time: by systemd's timers or by cron."""
