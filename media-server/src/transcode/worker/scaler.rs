//! The processor's scaler, as an element of GStreamer: pictures of 8 bits and 4:2:0 to another size.
//!
//! Bicubic (Catmull-Rom), its kernel as wide as the ratio asks for, so that a small rung does not alias: what `ffmpeg` does
//! by default. `videoscale` is bilinear over two lines at its cheapest, and takes more of a core for it than this for the
//! better picture; its own bicubic takes two to three times as much (`docs/decisions/0022-scaler.md`).

mod turn;

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer::subclass::prelude::*;
use gstreamer_base::subclass::{BaseTransformMode, prelude::*};
use gstreamer_video::{self as gst_video, prelude::*, subclass::prelude::*};
use pic_scale::{
    BufferStore, ImageSize, ImageStore, ImageStoreMut, PicScaleError, Resampling, ResamplingFunction, Scaler,
};

use crate::transcode::plan::PROCESSORS;
use turn::turn;

/// Luma, and the two of chroma.
const PLANES: u32 = 3;

/// Makes the element known to GStreamer, in this process.
pub(super) fn register() -> Result<(), glib::BoolError> {
    gst::Element::register(None, PROCESSORS, gst::Rank::NONE, WeirScale::static_type())
}

glib::wrapper! {
    /// See the module.
    pub(super) struct WeirScale(ObjectSubclass<Element>)
        @extends gst_video::VideoFilter, gstreamer_base::BaseTransform, gst::Element, gst::Object;
}

/// The element's inside.
#[derive(Default)]
pub(super) struct Element {
    sizes: Mutex<Option<Sizes>>,
}

/// What to do with a plane of one size: lines are made fewer, and then, as columns, shorter. Tables for both are made once.
struct Plane {
    from: Size,
    to: Size,
    fewer: Arc<Resampling<u8, 1>>,
    shorter: Arc<Resampling<u8, 1>>,
    upright: Vec<u8>,
    turned: Vec<u8>,
    scratch: Vec<u8>,
}

/// What to do with the planes of one size of picture: luma, chroma.
struct Sizes {
    whole: [Plane; 2],
    /// With each field by itself, where the lines of two are mixed.
    fields: Option<[Plane; 2]>,
}

type Size = (usize, usize);

/// A plane's size in 4:2:0.
fn chroma((width, height): Size) -> Size {
    (width.div_ceil(2), height.div_ceil(2))
}

impl Plane {
    fn new(from: Size, to: Size) -> Result<Self, PicScaleError> {
        let size = |(width, height)| ImageSize::new(width, height);
        let scaler = Scaler::new(ResamplingFunction::CatmullRom);
        let fewer = scaler.plan_planar_resampling(size(from), size((from.0, to.1)))?;
        let shorter = scaler.plan_planar_resampling(size((to.1, from.0)), size((to.1, to.0)))?;
        let scratch = vec![0; fewer.scratch_size().max(shorter.scratch_size())];
        let plane = || vec![0; from.0.max(to.0) * to.1];
        Ok(Self { from, to, fewer, shorter, upright: plane(), turned: plane(), scratch })
    }

    fn pair(from: Size, to: Size) -> Result<[Self; 2], PicScaleError> {
        Ok([Self::new(from, to)?, Self::new(chroma(from), chroma(to))?])
    }

    fn scale(&mut self, from: (&[u8], usize), to: (&mut [u8], usize)) -> Result<(), PicScaleError> {
        let (width, height) = self.to;
        let source = pixels(from, self.from);
        if self.from.0 == width {
            return self.fewer.resample_with_scratch(
                &source,
                &mut pixels_mut(to, self.to),
                &mut self.scratch,
            );
        }
        let fewer = (self.from.0, height);
        let mut upright = pixels_mut((&mut self.upright, fewer.0), fewer);
        self.fewer.resample_with_scratch(&source, &mut upright, &mut self.scratch)?;
        turn(&self.upright, self.from.0, &mut self.turned, height, fewer);
        let turned = pixels((&self.turned, height), (height, self.from.0));
        let mut shorter = pixels_mut((&mut self.upright, height), (height, width));
        self.shorter.resample_with_scratch(&turned, &mut shorter, &mut self.scratch)?;
        turn(&self.upright, height, to.0, to.1, (height, width));
        Ok(())
    }
}

/// Lines that begin so many samples apart.
fn pixels((buffer, stride): (&[u8], usize), (width, height): Size) -> ImageStore<'_, u8, 1> {
    ImageStore { buffer: Cow::Borrowed(buffer), channels: 1, width, height, stride, bit_depth: 8 }
}

fn pixels_mut((buffer, stride): (&mut [u8], usize), (width, height): Size) -> ImageStoreMut<'_, u8, 1> {
    ImageStoreMut { buffer: BufferStore::Borrowed(buffer), channels: 1, width, height, stride, bit_depth: 8 }
}

impl Sizes {
    fn new(from: Size, to: Size, interlaced: bool) -> Result<Self, PicScaleError> {
        // As everywhere: fields of pictures that have as many lines of chroma in the one as in the other.
        let has_fields = interlaced && from.1.is_multiple_of(4) && to.1.is_multiple_of(4);
        let field = |(width, height)| (width, height / 2);
        Ok(Self {
            whole: Plane::pair(from, to)?,
            fields: has_fields.then(|| Plane::pair(field(from), field(to))).transpose()?,
        })
    }

    /// One plane; `index` as in the picture. `mixed`: its lines are those of two fields.
    fn scale(
        &mut self,
        index: usize,
        mixed: bool,
        (from, from_stride): (&[u8], usize),
        (to, to_stride): (&mut [u8], usize),
    ) -> Result<(), PicScaleError> {
        let of = |planes| -> &mut Plane {
            let [luma, chroma]: &mut [Plane; 2] = planes;
            if index == 0 { luma } else { chroma }
        };
        let Some(fields) = self.fields.as_mut().filter(|_| mixed) else {
            return of(&mut self.whole).scale((from, from_stride), (to, to_stride));
        };
        let plane = of(fields);
        for field in 0..2 {
            let from = from.get(field * from_stride..).unwrap_or_default();
            let to = to.get_mut(field * to_stride..).unwrap_or_default();
            plane.scale((from, 2 * from_stride), (to, 2 * to_stride))?;
        }
        Ok(())
    }
}

#[glib::object_subclass]
impl ObjectSubclass for Element {
    const NAME: &'static str = "WeirScale";
    type Type = WeirScale;
    type ParentType = gst_video::VideoFilter;
}

impl ObjectImpl for Element {}

impl GstObjectImpl for Element {}

impl ElementImpl for Element {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: std::sync::LazyLock<gst::subclass::ElementMetadata> =
            std::sync::LazyLock::new(|| {
                gst::subclass::ElementMetadata::new(
                    "Scaler",
                    "Filter/Converter/Video/Scaler",
                    "Resizes pictures of 4:2:0",
                    "Weir",
                )
            });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static PADS: std::sync::LazyLock<Vec<gst::PadTemplate>> = std::sync::LazyLock::new(|| {
            let caps = gst_video::VideoCapsBuilder::new().format(gst_video::VideoFormat::I420).build();
            [("sink", gst::PadDirection::Sink), ("src", gst::PadDirection::Src)]
                .into_iter()
                // Fails for a name that is no pad's alone.
                .filter_map(|(name, way)| {
                    gst::PadTemplate::new(name, way, gst::PadPresence::Always, &caps).ok()
                })
                .collect()
        });
        &PADS
    }
}

impl BaseTransformImpl for Element {
    const MODE: BaseTransformMode = BaseTransformMode::NeverInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = true;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    /// Any size, and any shape of a pixel; the rest stays.
    fn transform_caps(
        &self,
        _: gst::PadDirection,
        caps: &gst::Caps,
        filter: Option<&gst::Caps>,
    ) -> Option<gst::Caps> {
        let mut any = caps.clone();
        for structure in any.make_mut().iter_mut() {
            structure.set("width", gst::IntRange::new(1, i32::MAX));
            structure.set("height", gst::IntRange::new(1, i32::MAX));
            if structure.has_field("pixel-aspect-ratio") {
                let (least, most) = (gst::Fraction::new(1, i32::MAX), gst::Fraction::new(i32::MAX, 1));
                structure.set("pixel-aspect-ratio", gst::FractionRange::new(least, most));
            }
        }
        Some(match filter {
            Some(filter) => filter.intersect_with_mode(&any, gst::CapsIntersectMode::First),
            None => any,
        })
    }
}

impl VideoFilterImpl for Element {
    fn set_info(
        &self,
        _: &gst::Caps,
        from: &gst_video::VideoInfo,
        _: &gst::Caps,
        to: &gst_video::VideoInfo,
    ) -> Result<(), gst::LoggableError> {
        let size = |info: &gst_video::VideoInfo| (info.width() as usize, info.height() as usize);
        let sizes = Sizes::new(size(from), size(to), from.is_interlaced())
            .map_err(|error| gst::loggable_error!(gst::CAT_RUST, "{error}"))?;
        *self.sizes.lock().unwrap_or_else(PoisonError::into_inner) = Some(sizes);
        Ok(())
    }

    fn transform_frame(
        &self,
        from: &gst_video::VideoFrameRef<&gst::BufferRef>,
        to: &mut gst_video::VideoFrameRef<&mut gst::BufferRef>,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let mut sizes = self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
        let sizes = sizes.as_mut().ok_or(gst::FlowError::NotNegotiated)?;
        let refused = |error: &dyn std::fmt::Display| {
            gst::element_imp_error!(self, gst::StreamError::Failed, ("A picture is not scaled: {error}"));
            gst::FlowError::Error
        };
        for plane in 0..PLANES {
            let index = plane as usize;
            let stride =
                |strides: &[i32]| usize::try_from(strides.get(index).copied().unwrap_or(0)).unwrap_or(0);
            let (from_stride, to_stride) = (stride(from.plane_stride()), stride(to.plane_stride()));
            let pixels = from.plane_data(plane).map_err(|error| refused(&error))?;
            let scaled = to.plane_data_mut(plane).map_err(|error| refused(&error))?;
            sizes
                .scale(index, from.is_interlaced(), (pixels, from_stride), (scaled, to_stride))
                .map_err(|error| refused(&error))?;
        }
        Ok(gst::FlowSuccess::Ok)
    }
}

#[cfg(test)]
mod tests;
