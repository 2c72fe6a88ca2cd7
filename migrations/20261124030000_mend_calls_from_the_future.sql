-- A processor whose clock was fast has stored calls as fetched in the future, and newer data loses to them until then.
update public.calls set fetched_at = now() where fetched_at > now();
