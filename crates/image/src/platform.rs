//! Platforms: which of an index's images fits.

use std::fmt;
use std::str::FromStr;

use loment_store::ImagePlatform;

/// An operating system, an architecture and perhaps a variant of it, in Go's names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Platform {
    /// `linux`
    pub os: String,
    /// `amd64`, `arm64`, `arm`, …
    pub architecture: String,
    /// `v7`; absent means the usual one of the architecture.
    pub variant: Option<String>,
}

/// A text is not `os[/architecture[/variant]]`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid platform {input:?}, use os/architecture or os/architecture/variant")]
pub struct PlatformError {
    input: String,
}

impl Platform {
    /// What this program was built for, which is what its containers run on.
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "x86" => "386",
            "aarch64" => "arm64",
            "loongarch64" => "loong64",
            "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
            other => other,
        };
        Self { os: "linux".into(), architecture: architecture.into(), variant: None }
    }

    /// The variant with the usual ones filled in: containerd and Docker treat these as the same.
    fn effective_variant(&self) -> &str {
        match (self.architecture.as_str(), self.variant.as_deref()) {
            (_, Some(variant)) if !variant.is_empty() => variant,
            ("arm64", _) => "v8",
            ("arm", _) => "v7",
            ("amd64", _) => "v1",
            _ => "",
        }
    }

    /// How well an image for `offered` runs here: 0 is exact, larger is worse, `None` is not at all.
    ///
    /// A 32-bit ARM takes older variants, the newest first; so do the x86-64 levels.
    pub fn accepts(&self, offered: &Platform) -> Option<u32> {
        if self.os != offered.os || self.architecture != offered.architecture {
            return None;
        }
        let (wanted, found) = (self.effective_variant(), offered.effective_variant());
        if wanted == found {
            return Some(0);
        }
        let level = |variant: &str| variant.strip_prefix('v').and_then(|n| n.parse::<u32>().ok());
        match self.architecture.as_str() {
            "arm" | "amd64" => level(wanted)?.checked_sub(level(found)?),
            _ => None,
        }
    }

    /// Whether this marks an attestation rather than an image (BuildKit, "Image attestation storage").
    pub fn is_unknown(&self) -> bool {
        self.os == "unknown" && self.architecture == "unknown"
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) if !variant.is_empty() => write!(f, "/{variant}"),
            _ => Ok(()),
        }
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(input: &str) -> Result<Self, PlatformError> {
        let parts: Vec<_> = input.split('/').collect();
        let error = || PlatformError { input: input.to_owned() };
        if parts.len() > 3 || parts.iter().any(|part| part.is_empty()) {
            return Err(error());
        }
        let architecture = match parts.get(1).copied() {
            None => return Ok(Self { os: parts[0].into(), ..Self::host() }),
            Some("x86_64" | "x86-64") => "amd64",
            Some("aarch64") => "arm64",
            Some(other) => other,
        };
        let variant = parts.get(2).map(|variant| (*variant).to_owned());
        Ok(Self { os: parts[0].into(), architecture: architecture.into(), variant })
    }
}

impl From<&oci_spec::image::Platform> for Platform {
    fn from(platform: &oci_spec::image::Platform) -> Self {
        Self {
            os: platform.os().to_string(),
            architecture: platform.architecture().to_string(),
            variant: platform.variant().clone(),
        }
    }
}

impl From<&Platform> for ImagePlatform {
    fn from(platform: &Platform) -> Self {
        let Platform { os, architecture, variant } = platform.clone();
        Self { os, architecture, variant }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_fit_downwards_only() {
        let accepts = |wanted: &str, offered: &str| {
            wanted.parse::<Platform>().unwrap().accepts(&offered.parse().unwrap())
        };
        assert_eq!(accepts("linux/amd64", "linux/amd64"), Some(0));
        assert_eq!(accepts("linux/amd64", "linux/amd64/v1"), Some(0));
        assert_eq!(accepts("linux/amd64", "linux/amd64/v3"), None);
        assert_eq!(accepts("linux/amd64/v3", "linux/amd64"), Some(2));
        assert_eq!(accepts("linux/arm64", "linux/arm64/v8"), Some(0));
        assert_eq!(accepts("linux/arm64", "linux/arm/v7"), None);
        assert_eq!(accepts("linux/arm", "linux/arm/v7"), Some(0));
        assert_eq!(accepts("linux/arm/v7", "linux/arm/v6"), Some(1));
        assert_eq!(accepts("linux/arm/v7", "linux/arm/v5"), Some(2));
        assert_eq!(accepts("linux/arm/v6", "linux/arm/v7"), None);
        assert_eq!(accepts("linux/amd64", "windows/amd64"), None);
        assert_eq!(accepts("linux/x86_64", "linux/amd64"), Some(0));
        assert!("linux/".parse::<Platform>().is_err() && "a/b/c/d".parse::<Platform>().is_err());
    }
}
