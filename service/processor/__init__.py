"""What imports calls. The way of a job, from top to bottom, a module each:

dispatcher       claims the jobs that are due and works on several side by side
job_runner       one job from its claim to its end: imported, given back for later, or failed
job_importer     the threads of a job and its heartbeat: plans it, imports its windows, verifies and completes it
plan             where to cut its range before the first page, by Ultravox' own count (histogram)
window_queue     the windows that wait for a thread, and when one is to be cut
window_importer  one window: fetch a page, store it with its checkpoint, go on with the next one
page_fetcher     one page: at the pace that the API key may have, tried again where it fails
backlog          the pages that are fetched and wait for one of the job's connections to be stored with
endless_guard    tells a window whose pages never end
ultravox         one request to the API, and what its answer means
call_page        an answer taken apart: calls, the next page, the total
histogram        the other answer taken apart: how many calls Ultravox counts

Beside it: credentials (the agencies' API keys) and progress; service/commands starts it all.
"""
