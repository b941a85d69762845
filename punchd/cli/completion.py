"""
C{punchd completion}.
"""

from __future__ import annotations

from twisted.python import usage

from .command import Command, Console
from .describe import Described, punchd, services

#: Twisted completes for zsh, if it is asked in this way.
_ZSH = """\
#compdef punchd
local output
output=$("$words[@]" --_shell-completion zsh:$CURRENT 2>/dev/null)
[[ $output == "#compdef "* ]] && eval $output
"""

_BASH = """\
# bash completion for punchd and its twistd commands
_punchd() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} key="" word names options
    for word in "${{COMP_WORDS[@]:0:COMP_CWORD}}"; do
        word=${{word##*/}}
        case "$key $word" in
{paths}
        esac
    done
    case $key in
{cases}
        *) return ;;
    esac
    if [[ $cur == -* ]]; then
        COMPREPLY=($(compgen -W "$options" -- "$cur"))
        [[ ${{COMPREPLY[0]}} == *= ]] && compopt -o nospace
    else
        COMPREPLY=($(compgen -W "$names" -- "$cur") $(compgen -f -- "$cur"))
    fi
}}
complete -F _punchd punchd
complete -o bashdefault -o default -F _punchd twistd
"""

#: Commands whose next word is a peer.
_PEERS = ("why", "ping", "allow", "disallow", "connect", "remove", "rename")


class CompletionOptions(Command):
    """
    Print what makes a shell complete the words of punchd.
    """

    synopsis = "bash|zsh"
    longdesc = (
        'bash: eval "$(punchd completion bash)" in ~/.bashrc.'
        " zsh: punchd completion zsh > a file _punchd in a folder of $fpath."
    )

    def parseArgs(self, *arguments: str) -> None:
        """
        @raise usage.UsageError: it is no shell that we know.
        """
        if len(arguments) != 1 or arguments[0] not in ("bash", "zsh"):
            raise usage.UsageError("expected bash or zsh.")
        self["shell"] = arguments[0]

    def run(self, console: Console) -> int:
        """
        @return: 0.
        """
        console.line((_ZSH if self["shell"] == "zsh" else bash()).rstrip())
        return 0


def bash() -> str:
    """
    @return: what bash needs.
    """
    commands = [each for top in (punchd(), *services()) for each in top.walk()]
    paths, cases = [], []
    for command in commands:
        before, _, last = command.name.rpartition(" ")
        if before in ("", "twistd"):
            # What is before it does not matter: options of twistd, a folder.
            paths.append(f'            *" {last}") key="{command.name}" ;;')
        else:
            paths.append(f'            "{before} {last}") key="{command.name}" ;;')
        cases.append(_case(command))
    return _BASH.format(paths="\n".join(paths), cases="\n".join(cases))


def _case(command: Described) -> str:
    options = " ".join(
        f"--{option.name}{'=' if option.value else ''}" for option in command.options
    )
    names = " ".join(each.name.rpartition(" ")[2] for each in command.commands)
    if command.name.rpartition(" ")[2] in _PEERS:
        names = "$(punchd peers list 2>/dev/null | cut -d' ' -f1)"
    return (
        f'        "{command.name}")\n'
        f'            options="{options}"\n'
        f'            names="{names}" ;;'
    )
