//! Whether this kernel can do Docker's routing mesh, which balances with IPVS. Without it Docker starts the replicas
//! and says nothing, but the published port answers nobody.

use std::path::Path;

/// Whether IPVS is surely missing. Where that cannot be told (in a container, say), Docker gets the benefit of doubt.
pub(super) fn is_missing() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    is_missing_in(Path::new("/proc"), &Path::new("/lib/modules").join(release.trim()))
}

fn is_missing_in(proc: &Path, modules: &Path) -> bool {
    if proc.join("net/ip_vs").exists() || !proc.exists() {
        return false;
    }
    // A kernel without modules can load none: what it lacks now it lacks for good.
    if !proc.join("modules").exists() {
        return true;
    }
    match std::fs::read_to_string(modules.join("modules.dep")) {
        Ok(loadable) => !loadable.contains("/ip_vs.ko"),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_a_kernel_without_the_mesh() {
        let root = tempfile::tempdir().unwrap();
        let (proc, modules) = (root.path().join("proc"), root.path().join("modules"));
        assert!(!is_missing_in(&proc, &modules), "no /proc: unknown");
        std::fs::create_dir_all(proc.join("net")).unwrap();
        std::fs::create_dir_all(&modules).unwrap();
        assert!(is_missing_in(&proc, &modules), "a kernel without modules");
        std::fs::write(proc.join("modules"), "").unwrap();
        assert!(!is_missing_in(&proc, &modules), "modules unknown, as in a container");
        std::fs::write(modules.join("modules.dep"), "kernel/net/vxlan.ko:\n").unwrap();
        assert!(is_missing_in(&proc, &modules));
        std::fs::write(modules.join("modules.dep"), "kernel/net/netfilter/ipvs/ip_vs.ko.xz: x\n").unwrap();
        assert!(!is_missing_in(&proc, &modules));
        std::fs::write(modules.join("modules.dep"), "").unwrap();
        std::fs::write(proc.join("net/ip_vs"), "").unwrap();
        assert!(!is_missing_in(&proc, &modules));
    }
}
