# Completion of magicmirror(1) for fish. Tests/Checks/completions holds it against --help.

set -l verb __fish_seen_subcommand_from
set -l first "not $verb run check doctor policy"

complete -c magicmirror -f
complete -c magicmirror -n "$first" -a run -d 'connect to the relays and serve (without a verb, too)'
complete -c magicmirror -n "$first" -a check -d 'read the configuration, say what is wrong, stop'
complete -c magicmirror -n "$first" -a doctor -d 'try relays and origins, say what to do, stop'
complete -c magicmirror -n "$first" -a policy -d 'the rules of each mirror'
set -l second "$verb policy; and not $verb show test"
complete -c magicmirror -n "$second" -a show -d 'print the rules of each mirror'
complete -c magicmirror -n "$second" -a test -d 'say what the rules do with a request'
set -l methods GET HEAD POST PUT PATCH DELETE OPTIONS
complete -c magicmirror -n "$verb policy; and $verb test; and not $verb $methods" -a "$methods"

complete -c magicmirror -l remote -x -d 'a relay, such as wss://relay.example.com/mirror'
complete -c magicmirror -l local -x -d 'the private service: http://…, https://…, unix:/…, HOST:PORT, PORT'
complete -c magicmirror -l apikey-file -r -F -d 'file with the key for the relay'
complete -c magicmirror -l apikey -x -d 'the key itself; others can see it in the process list'
complete -c magicmirror -l policy -x -a 'prometheus read-only' -d 'allow what a service needs: prometheus, read-only'
complete -c magicmirror -l allow -x -d 'allow methods and paths, such as \'GET,HEAD /api/v1/*\''
complete -c magicmirror -l host-header -x -a 'preserve local' -d 'the Host that the service sees: preserve, local or a name'
complete -c magicmirror -l ca-file -r -F -d 'certificates to trust for the relay'
complete -c magicmirror -l local-ca-file -r -F -d 'certificates to trust for the service'
complete -c magicmirror -l local-insecure -d 'take any certificate of the service'
complete -c magicmirror -l local-certificate -r -F -d 'certificate to show to the service'
complete -c magicmirror -l local-private-key -r -F -d 'the private key of that certificate'
complete -c magicmirror -l proxy -x -d 'HTTP proxy on the way to the relay'
complete -c magicmirror -l log-query -d 'log the query, too, which may hold secrets'
complete -c magicmirror -l name -x -d 'the mirror\'s name at the relay'
complete -c magicmirror -l metrics-listen -x -d 'where /metrics is served'
complete -c magicmirror -l log-level -x -a 'error warning info debug' -d 'error, warning, info or debug (info)'
complete -c magicmirror -l config -r -F -d 'configuration (/etc/magicmirror/agent.conf where it exists)'
complete -c magicmirror -l version -d 'print the version and stop'
complete -c magicmirror -s h -l help -d 'print this and stop'
