//! For bash; nothing of the package bash-completion is needed.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::super::table::{self, Flag, GLOBAL_FLAGS};
use super::{Values, names};

const TEMPLATE: &str = r#"# Completes command lines of coracle in bash: `coracle completion bash`.

_coracle() {
    local word=${COMP_WORDS[COMP_CWORD]} command='' option='' place=0 root=() index
    # Bash takes the `=` between an option and its value for a word.
    [[ $word != = ]] || word=
    for ((index = 1; index < COMP_CWORD; index++)); do
        case $command:${COMP_WORDS[index]} in
@takes_value@)
            option=$command:${COMP_WORDS[index]}
            [[ ${COMP_WORDS[index + 1]} != = ]] || ((index++))
            ((index++))
            [[ $option != :--root ]] || root=(--root "${COMP_WORDS[index]}")
            ((index >= COMP_CWORD)) || option=
            ;;
        *:-* | *:=) ;;
        :*) command=${COMP_WORDS[index]} ;;
        *) ((place++)) ;;
        esac
    done
    COMPREPLY=()
    case $option in
    ?*) _coracle_value ;;
    *)
        case $command:$place:$word in
@trailing@) ;;
        *:-*) _coracle_words "$(_coracle_options)" ;;
        :*) _coracle_words '@commands@' ;;
        *) _coracle_argument ;;
        esac
        ;;
    esac
}

_coracle_words() {
    mapfile -t COMPREPLY < <(compgen -W "$1" -- "$word")
}

_coracle_paths() {
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen "$1" -- "$word")
}

_coracle_containers() {
    _coracle_words "$("${COMP_WORDS[0]}" "${root[@]}" list --quiet 2>/dev/null)"
}

_coracle_value() {
    case $option in
@values@    esac
}

_coracle_argument() {
    case $command:$place in
@arguments@    esac
}

_coracle_options() {
    case $command in
@options@    esac
}

complete -F _coracle coracle
"#;

/// Patterns of `case` by what is completed where they match.
#[derive(Default)]
struct Branches(BTreeMap<Values, Vec<String>>);

impl Branches {
    fn add(&mut self, values: Values, pattern: String) {
        if values != Values::Free {
            self.0.entry(values).or_default().push(pattern);
        }
    }

    fn text(&self) -> String {
        let mut out = String::new();
        for (values, patterns) in &self.0 {
            let action = match values {
                Values::Directories => "_coracle_paths -d".to_owned(),
                Values::Files => "_coracle_paths -f".to_owned(),
                Values::Containers => "_coracle_containers".to_owned(),
                Values::Words(words) => format!("_coracle_words '{}'", words.join(" ")),
                Values::Free => continue,
            };
            // Writing to a string cannot fail.
            let _ = writeln!(out, "    {}) {action} ;;", patterns.join(" | "));
        }
        out
    }
}

pub(super) fn script() -> String {
    let (mut takes_value, mut values) = (Vec::new(), Branches::default());
    let (mut arguments, mut trailing) = (Branches::default(), Vec::new());
    let mut options = option_branch("''", GLOBAL_FLAGS);
    let mut add = |command: &str, flags: &[Flag]| {
        for flag in flags.iter().filter(|flag| flag.value.is_some()) {
            for name in names(flag) {
                let pattern = format!("{command}:{name}");
                values.add(Values::of_flag(flag), pattern.clone());
                takes_value.push(pattern);
            }
        }
    };
    add("", GLOBAL_FLAGS);
    for command in table::listed() {
        add(command.name, command.flags);
        options.push_str(&option_branch(command.name, command.flags));
        for (place, values) in Values::of_arguments(command).into_iter().enumerate() {
            arguments.add(values, format!("{}:{place}", command.name));
        }
        if command.trailing {
            trailing.push(format!("{}:[1-9]*", command.name));
        }
    }
    let commands: Vec<_> = table::listed().map(|command| command.name).collect();
    arguments.add(Values::Words(commands.clone()), "help:0".to_owned());
    TEMPLATE
        .replace("@takes_value@", &format!("        {}", takes_value.join(" | ")))
        .replace("@trailing@", &format!("        {}", trailing.join(" | ")))
        .replace("@commands@", &format!("{} help", commands.join(" ")))
        .replace("@values@", &values.text())
        .replace("@arguments@", &arguments.text())
        .replace("@options@", &options)
}

fn option_branch(command: &str, flags: &[Flag]) -> String {
    let names: Vec<_> = flags.iter().flat_map(names).collect();
    format!("    {command}) echo '{}' ;;\n", names.join(" "))
}
