//! One tiny package from the real index, by pip and by uv, through the interpreter of this machine.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use prunella_environment::{Environment, PythonLock, PythonRequest, ensure, environment_variables, lock};
use prunella_sys::{Env, MapEnv, RealEnv, Sys};

/// Returns this machine with `bins` before a `PATH` from which uv is gone.
fn machine(bins: &[&Path]) -> Sys {
    let mut env = MapEnv::new(RealEnv.current_dir().unwrap());
    for (name, value) in RealEnv.vars_os() {
        if let (Ok(name), Ok(value)) = (name.into_string(), value.into_string()) {
            env = env.with(name, value);
        }
    }
    let real = RealEnv.var("PATH").unwrap();
    let without_uv = real.split(':').filter(|dir| !Path::new(dir).join("uv").exists());
    let path: Vec<&str> = bins.iter().map(|bin| bin.to_str().unwrap()).chain(without_uv).collect();
    Sys { env: Arc::new(env.with("PATH", path.join(":"))), ..Sys::real() }
}

fn made(sys: &Sys, dir: &Path, cache: &Path, requirements: &str) -> (PythonLock, Environment) {
    sys.fs.create_dir_all(dir).unwrap();
    let file = dir.join("requirements.txt");
    std::io::Write::write_all(&mut sys.fs.create_new(&file).unwrap(), requirements.as_bytes()).unwrap();
    let request = PythonRequest { requirements: file, python: None };
    let locked = lock(sys, &request, cache, &mut |_| {}).unwrap_or_else(|error| panic!("{error}"));
    let environment = ensure(sys, &locked, cache, &mut |_| {}).unwrap_or_else(|error| panic!("{error}"));
    (locked, environment)
}

/// Returns what is installed, as the environment's own Python sees it.
fn installed(environment: &Environment) -> String {
    let script = "import importlib.metadata as m; import six; \
                  print(sorted((d.metadata['Name'], d.version) for d in m.distributions()))";
    let answer = Command::new("python")
        .args(["-c", script])
        .envs(environment_variables(environment, "/usr/bin:/bin"))
        .env_remove("PYTHONPATH")
        .output()
        .unwrap();
    String::from_utf8_lossy(&if answer.status.success() { answer.stdout } else { answer.stderr }).trim().to_owned()
}

#[test]
fn pip_and_uv_make_the_same_environment_under_the_same_digest() {
    let dir = tempfile::tempdir().unwrap();
    let (cache, uv_cache) = (dir.path().join("cache"), dir.path().join("uv-cache"));
    let requirements = "six==1.17.0\n";
    let (by_pip, environment) = made(&machine(&[]), &dir.path().join("pip"), &cache, requirements);
    assert_eq!(by_pip.packages.len(), 1);
    assert!(by_pip.packages[0].hashes[0].starts_with("sha256:"), "{by_pip:?}");
    assert_eq!(installed(&environment), "[('six', '1.17.0')]");

    // uv itself is a package: what pip makes of it serves as this machine's uv.
    let (_, with_uv) = made(&machine(&[]), &dir.path().join("uv"), &cache, "six\nuv==0.8.22\n");
    let only_uv = dir.path().join("only-uv");
    let sys = machine(&[&only_uv]);
    sys.fs.create_dir(&only_uv).unwrap();
    sys.fs.symlink(&with_uv.bin.join("uv"), &only_uv.join("uv")).unwrap();
    let (by_uv, environment) = made(&sys, &dir.path().join("by-uv"), &uv_cache, requirements);
    assert_eq!(installed(&environment), "[('six', '1.17.0')]");
    assert_eq!(by_uv.digest(), by_pip.digest());
    let names: Vec<_> = sys.fs.list(&uv_cache).unwrap();
    assert!(names.iter().all(|entry| !entry.name.to_string_lossy().starts_with("pip-")), "pip was used: {names:?}");
}
