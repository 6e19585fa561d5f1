# Completion of magicmirrorctl(8) for fish. Tests/Checks/completions holds it against --help.

set -l verb __fish_seen_subcommand_from
set -l asking status mirrors disconnect drain reload
set -l first "not $verb key $asking"

complete -c magicmirrorctl -f
complete -c magicmirrorctl -n "$first" -a key -d 'the keys of agents and clients'
complete -c magicmirrorctl -n "$first" -a status -d 'show what the relay does'
complete -c magicmirrorctl -n "$first" -a mirrors -d 'list the mirrors and their agents'
complete -c magicmirrorctl -n "$first" -a disconnect -d 'close the sessions of a mirror\'s agents'
complete -c magicmirrorctl -n "$first" -a drain -d 'let the relay finish what runs, then stop'
complete -c magicmirrorctl -n "$first" -a reload -d 'let the relay read configuration, certificate and keys anew'
set -l second "$verb key; and not $verb add list revoke"
complete -c magicmirrorctl -n "$second" -a add -d 'make a key, show its secret this once'
complete -c magicmirrorctl -n "$second" -a list -d 'list the keys'
complete -c magicmirrorctl -n "$second" -a revoke -d 'take a key away'

set -l adding "not $verb list revoke $asking"
complete -c magicmirrorctl -n "$adding" -l user -x -d 'whose key it is'
complete -c magicmirrorctl -n "$adding" -l role -x -a 'agent client' -d 'who shows it: an agent or its clients'
complete -c magicmirrorctl -n "$adding" -l name -x -d 'the user\'s mirrors that it is for (*)'
complete -c magicmirrorctl -n "$adding" -l expires -x -d 'how long it is good, such as 90d (for ever)'
complete -c magicmirrorctl -n "$adding" -l comment -x -d 'for the list of keys'
complete -c magicmirrorctl -n "$adding" -l secret-stdin -d 'take the secret from standard input'
complete -c magicmirrorctl -n "not $verb $asking" -l keys -r -F -d 'the keys file (as the configuration says)'
complete -c magicmirrorctl -n "not $verb key" -l socket -r -F -d 'the control socket (as the configuration says)'
complete -c magicmirrorctl -l json -d 'answer in JSON'
complete -c magicmirrorctl -l config -r -F -d 'the relay\'s configuration (/etc/magicmirror/relay.conf)'
complete -c magicmirrorctl -l version -d 'print the version and stop'
complete -c magicmirrorctl -s h -l help -d 'print this and stop'
